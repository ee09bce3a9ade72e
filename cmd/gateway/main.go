// Command gateway takes telemetry pushes of any protocol and forwards them to Grafana Cloud with the credentials of
// their environment. This package reads flags and signals and builds what internal/gateway runs; it decides nothing else.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"
)

// version is stamped by the linker: -ldflags "-X main.version=1.2.3".
var version = "dev"

// The exit codes.
const (
	exitFine   = 0
	exitFailed = 1 // the work failed
	exitUsage  = 2 // wrong usage
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once, as people expect
	code := run(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	os.Exit(code)
}

// errUsage marks errors of the command line itself.
var errUsage = errors.New("wrong usage")

// errSaid is returned by commands that have told already what failed.
var errSaid = errors.New("failed")

// run runs the command line and returns the exit code.
func run(ctx context.Context, args []string, out, errOut io.Writer) int {
	root := &cobra.Command{
		Use: "gateway", Version: version,
		Short:         "Take telemetry pushes of any protocol, reduce them, forward them to Grafana Cloud",
		Long:          about,
		Example:       firstSteps,
		SilenceErrors: true, SilenceUsage: true,
		Args: func(cmd *cobra.Command, given []string) error {
			if len(given) > 0 {
				return unknownCommand(cmd, given[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			fmt.Fprintln(errOut, cmd.UsageString())
			return fmt.Errorf("%w: a command is missing", errUsage)
		},
		CompletionOptions:          cobra.CompletionOptions{DisableDefaultCmd: true},
		SuggestionsMinimumDistance: 2,
	}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetUsageTemplate(usageTemplate)
	root.SetVersionTemplate(versionLine())
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.SetHelpCommand(helpCommand())
	root.AddCommand(runCommand(), demoCommand(), checkCommand(), explainCommand(), versionCommand())
	switch cmd, err := root.ExecuteContextC(ctx); {
	case err == nil:
		return exitFine
	case errors.Is(err, errUsage):
		fmt.Fprintf(errOut, "gateway: %v\nTry '%s --help'.\n", err, cmd.CommandPath())
		return exitUsage
	case errors.Is(err, errSaid):
		return exitFailed
	default:
		fmt.Fprintf(errOut, "gateway: %v\n", err)
		return exitFailed
	}
}

// newLogger returns the logger of flags log.format and log.level.
func newLogger(w io.Writer, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, fmt.Errorf("%w: --log.level=%s: debug, info, warn or error", errUsage, level)
	}
	o := &slog.HandlerOptions{Level: l}
	switch format {
	case "json":
		return slog.New(slog.NewJSONHandler(w, o)), nil
	case "text":
		return slog.New(slog.NewTextHandler(w, o)), nil
	}
	return nil, fmt.Errorf("%w: --log.format=%s: json or text", errUsage, format)
}
