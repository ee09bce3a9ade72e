package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func runCommand() *cobra.Command {
	var file, logFormat, logLevel string
	cmd := &cobra.Command{
		Use: "run --config.file=FILE", Short: "Serve until SIGTERM or SIGINT; SIGHUP reloads", Args: args(),
		Long: `run serves until SIGTERM or SIGINT, and then finishes what is in flight. SIGHUP, POST /-/reload on the admin port and a
change of the file put a new configuration in force; the last good one stays while the new one is bad. Logs go to stderr.`,
		DisableFlagsInUseLine: true,
		RunE: func(cmd *cobra.Command, _ []string) error {
			// Before anything that takes time: unheeded, the signal would end the process.
			hangup := make(chan os.Signal, 1)
			signal.Notify(hangup, syscall.SIGHUP)
			if file == "" {
				return fmt.Errorf("%w: --config.file is missing", errUsage)
			}
			log, err := newLogger(cmd.ErrOrStderr(), logFormat, logLevel)
			if err != nil {
				return err
			}
			cfg, err := load(cmd.ErrOrStderr(), file)
			if err != nil {
				return err
			}
			limitMemory(cfg, log)
			for _, w := range cfg.Warnings() {
				log.Warn("configuration", "warning", w.String())
			}
			g, err := gateway.New(cfg, gateway.Options{Log: log, Version: version})
			if err != nil {
				return err
			}
			stop := reloadOnHangup(cmd.Context(), g, hangup)
			defer stop()
			defer boundGarbage()()
			return g.Run(cmd.Context(), func(gateway.Addresses) {})
		},
	}
	cmd.Flags().StringVar(&file, "config.file", "", "the configuration `FILE`")
	cmd.Flags().StringVar(&logFormat, "log.format", "json", "`FORMAT` of logs: json or text")
	cmd.Flags().StringVar(&logLevel, "log.level", "info", "lowest `LEVEL` that is logged: debug, info, warn or error")
	return cmd
}

// reloadOnHangup reloads at every signal of hangup until ctx ends; the returned func waits for that.
func reloadOnHangup(ctx context.Context, g *gateway.Gateway, hangup chan os.Signal) (stop func()) {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			select {
			case <-hangup:
				_ = g.Reload("SIGHUP") // it has logged and counted the outcome
			case <-ctx.Done():
				return
			}
		}
	}()
	return func() {
		signal.Stop(hangup)
		cancel()
		<-done
	}
}
