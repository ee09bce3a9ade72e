package main

import (
	"errors"
	"fmt"
	"io"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func checkCommand() *cobra.Command {
	var probe bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Validate a configuration file; with --probe also ask every upstream", Args: args("FILE"),
		Long: `check says everything that is wrong with a configuration file at once: file:line:column, key, what to do.
It reads the secret files that the configuration names and opens no port. Only --probe opens connections.`,
		RunE: func(cmd *cobra.Command, given []string) error {
			out := cmd.OutOrStdout()
			cfg, err := load(out, given[0])
			if err != nil {
				return err
			}
			// What run does first, so that a file which is valid here cannot fail there.
			if _, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: version}); err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(out, "warning: %s\n", w)
			}
			fmt.Fprintf(out, "%s is valid: %s, hash %s\n", given[0], count(len(cfg.Environments), "environment"), cfg.Hash)
			if !probe {
				return nil
			}
			results, err := gateway.Probe(cmd.Context(), cfg, version)
			if err != nil {
				return err
			}
			return report(out, results)
		},
	}
	cmd.Flags().BoolVar(&probe, "probe", false, "also send an empty push to every upstream and say what it answers")
	return cmd
}

// load reads a configuration file. What is wrong with it is written to w, one fault a line.
func load(w io.Writer, file string) (*config.Config, error) {
	cfg, err := config.Load(file)
	if faults, ok := errors.AsType[*config.Faults](err); ok {
		fmt.Fprintf(w, "%s\n%s is not valid: %s\n", faults, file, count(len(faults.List), "fault"))
		return nil, errSaid
	}
	return cfg, err
}

// report writes what the upstreams said. It fails if one of them takes no pushes.
func report(w io.Writer, results []gateway.ProbeResult) error {
	failed := 0
	for _, r := range results {
		fmt.Fprintln(w, r)
		if !r.OK {
			failed++
		}
	}
	if failed > 0 {
		fmt.Fprintf(w, "%d of %s failed\n", failed, count(len(results), "probe"))
		return errSaid
	}
	return nil
}

// count is n things: 1 fault, 2 faults.
func count(n int, thing string) string {
	if n != 1 {
		thing += "s"
	}
	return fmt.Sprintf("%d %s", n, thing)
}
