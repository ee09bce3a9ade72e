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
	"runtime/debug"
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
		Use:           "gateway",
		Short:         "Take telemetry pushes of any protocol, reduce them, forward them to Grafana Cloud",
		SilenceErrors: true, SilenceUsage: true,
		Args: func(_ *cobra.Command, args []string) error {
			if len(args) > 0 {
				return fmt.Errorf("%w: unknown command %q", errUsage, args[0])
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error {
			_ = cmd.Usage()
			return fmt.Errorf("%w: a command is missing", errUsage)
		},
		CompletionOptions: cobra.CompletionOptions{DisableDefaultCmd: true},
	}
	root.SetArgs(args)
	root.SetOut(out)
	root.SetErr(errOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return fmt.Errorf("%w: %w", errUsage, err) })
	root.AddCommand(runCommand(), demoCommand(), checkCommand(), versionCommand())
	switch err := root.ExecuteContext(ctx); {
	case err == nil:
		return exitFine
	case errors.Is(err, errUsage):
		fmt.Fprintf(errOut, "gateway: %v\nTry 'gateway help'.\n", err)
		return exitUsage
	case errors.Is(err, errSaid):
		return exitFailed
	default:
		fmt.Fprintf(errOut, "gateway: %v\n", err)
		return exitFailed
	}
}

// args is cobra.ExactArgs with an error that counts as wrong usage.
func args(n int) cobra.PositionalArgs {
	return func(cmd *cobra.Command, given []string) error {
		if len(given) != n {
			return fmt.Errorf("%w: %s takes %d arguments, not %d", errUsage, cmd.CommandPath(), n, len(given))
		}
		return nil
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			goVersion := "unknown Go"
			if info, ok := debug.ReadBuildInfo(); ok {
				goVersion = info.GoVersion
			}
			_, err := fmt.Fprintf(cmd.OutOrStdout(), "gateway %s (%s)\n", version, goVersion)
			return err
		},
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
