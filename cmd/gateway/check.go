package main

import (
	"errors"
	"fmt"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func checkCommand() *cobra.Command {
	var probe bool
	cmd := &cobra.Command{
		Use: "check FILE", Short: "Validate a configuration file; with --probe also ask every upstream", Args: args(1),
		RunE: func(cmd *cobra.Command, given []string) error {
			out := cmd.OutOrStdout()
			cfg, err := config.Load(given[0])
			var faults *config.Faults
			if errors.As(err, &faults) {
				fmt.Fprintf(out, "%s\n%d faults\n", faults, len(faults.List))
				return errSaid
			}
			if err != nil {
				return err
			}
			for _, w := range cfg.Warnings() {
				fmt.Fprintf(out, "warning: %s\n", w)
			}
			fmt.Fprintf(out, "%s is valid: %d environments, hash %s\n", given[0], len(cfg.Environments), cfg.Hash)
			if !probe {
				return nil
			}
			results, err := gateway.Probe(cmd.Context(), cfg, version)
			if err != nil {
				return err
			}
			failed := false
			for _, r := range results {
				fmt.Fprintln(out, r)
				failed = failed || !r.OK
			}
			if failed {
				return errSaid
			}
			return nil
		},
	}
	cmd.Flags().BoolVar(&probe, "probe", false, "also send an empty push to every upstream and say what it answers")
	return cmd
}
