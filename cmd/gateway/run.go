package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func runCommand() *cobra.Command {
	var file, logFormat, logLevel string
	cmd := &cobra.Command{
		Use: "run --config.file=gateway.yaml", Short: "Serve until SIGTERM or SIGINT; SIGHUP reloads", Args: args(0),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file == "" {
				return fmt.Errorf("%w: --config.file is missing", errUsage)
			}
			log, err := newLogger(cmd.ErrOrStderr(), logFormat, logLevel)
			if err != nil {
				return err
			}
			cfg, err := config.Load(file)
			if err != nil {
				return err
			}
			g, err := gateway.New(cfg, gateway.Options{Log: log, Version: version})
			if err != nil {
				return err
			}
			stop := reloadOnHangup(cmd.Context(), g)
			defer stop()
			return g.Run(cmd.Context(), func(gateway.Addresses) {})
		},
	}
	cmd.Flags().StringVar(&file, "config.file", "", "the configuration file")
	cmd.Flags().StringVar(&logFormat, "log.format", "json", "json or text")
	cmd.Flags().StringVar(&logLevel, "log.level", "info", "debug, info, warn or error")
	return cmd
}

// reloadOnHangup reloads at every SIGHUP until ctx ends; the returned func waits for that.
func reloadOnHangup(ctx context.Context, g *gateway.Gateway) (stop func()) {
	hangup := make(chan os.Signal, 1)
	signal.Notify(hangup, syscall.SIGHUP)
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
