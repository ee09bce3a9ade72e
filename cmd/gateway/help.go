package main

import (
	"fmt"
	"runtime/debug"
	"strings"

	"github.com/spf13/cobra"
)

const about = `gateway takes telemetry pushes (Prometheus remote_write, Loki, OTLP, Zipkin, Jaeger), finds out whose they are, drops and
relabels what rules say, holds limits on rates and cardinality, and forwards the rest to Grafana Cloud with the credentials of
their environment. A push is answered only after Grafana Cloud has answered.`

const firstSteps = `  gateway demo                               see it work: no configuration, no network
  gateway check gateway.yaml                 every fault of the file at once
  gateway check --probe gateway.yaml         and an empty push to every upstream
  gateway run --config.file=gateway.yaml     serve
  gateway explain --config.file=gateway.yaml --environment=prod 'up{pod="a"}'
                                             what rules and limits do to one series`

// usageTemplate is cobra's without what this program does not have, and with its exit codes.
const usageTemplate = `Usage:
  {{if .HasParent}}{{.UseLine}}{{else}}{{.CommandPath}} COMMAND [flags]{{end}}{{if .HasAvailableSubCommands}}

Commands:{{range .Commands}}{{if or .IsAvailableCommand (eq .Name "help")}}
  {{rpad .Name .NamePadding}} {{.Short}}{{end}}{{end}}{{end}}{{if .HasExample}}

Examples:
{{.Example}}{{end}}{{if .HasAvailableLocalFlags}}

Flags:
{{.LocalFlags.FlagUsages | trimTrailingWhitespaces}}{{end}}

Exit codes: 0 fine, 1 the work failed, 2 wrong usage.
`

// args wants as many arguments as there are names. Another number counts as wrong usage.
func args(names ...string) cobra.PositionalArgs {
	return func(_ *cobra.Command, given []string) error {
		switch {
		case len(given) < len(names):
			return fmt.Errorf("%w: %s is missing", errUsage, strings.Join(names[len(given):], " "))
		case len(given) > len(names):
			return fmt.Errorf("%w: unexpected argument %q", errUsage, given[len(names)])
		}
		return nil
	}
}

func unknownCommand(root *cobra.Command, name string) error {
	hint := ""
	if s := root.SuggestionsFor(name); len(s) > 0 {
		hint = "; did you mean " + strings.Join(s, " or ") + "?"
	}
	return fmt.Errorf("%w: unknown command %q%s", errUsage, name, hint)
}

// helpCommand is cobra's, but a command that does not exist is wrong usage.
func helpCommand() *cobra.Command {
	return &cobra.Command{
		Use: "help [COMMAND]", Short: "Explain a command",
		RunE: func(cmd *cobra.Command, given []string) error {
			found, rest, err := cmd.Root().Find(given)
			if err != nil || len(rest) > 0 {
				return unknownCommand(cmd.Root(), strings.Join(given, " "))
			}
			found.InitDefaultHelpFlag()
			return found.Help()
		},
	}
}

func versionCommand() *cobra.Command {
	return &cobra.Command{
		Use: "version", Short: "Print the version", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprint(cmd.OutOrStdout(), versionLine())
			return err
		},
	}
}

func versionLine() string {
	goVersion := "unknown Go"
	if info, ok := debug.ReadBuildInfo(); ok {
		goVersion = info.GoVersion
	}
	return fmt.Sprintf("gateway %s (%s)\n", version, goVersion)
}
