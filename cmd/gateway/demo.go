package main

import (
	"context"
	"errors"
	"log/slog"
	"time"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/demo"
	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func demoCommand() *cobra.Command {
	var duration time.Duration
	cmd := &cobra.Command{
		Use: "demo", Short: "Show everything at work in one process: senders, gateway, a pretend Grafana Cloud", Args: args(),
		RunE: func(cmd *cobra.Command, _ []string) error {
			return demo.Run(cmd.Context(), demo.Options{Start: startGateway, Out: cmd.OutOrStdout(), Duration: duration})
		},
	}
	cmd.Flags().DurationVar(&duration, "duration", 0, "end by itself after this `TIME`; 0: at ctrl-C")
	return cmd
}

// startGateway runs a gateway for the demo and returns once its ports are open.
func startGateway(start context.Context, configPath string, log *slog.Logger) (*demo.Running, error) {
	cfg, err := config.Load(configPath)
	if err != nil {
		return nil, err
	}
	g, err := gateway.New(cfg, gateway.Options{Log: log, Version: version})
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithCancel(context.Background())
	ready, done := make(chan gateway.Addresses, 1), make(chan error, 1)
	go func() { done <- g.Run(ctx, func(a gateway.Addresses) { ready <- a }) }()
	select {
	case a := <-ready:
		stop := func(wait context.Context) error {
			cancel()
			select {
			case err := <-done:
				return err
			case <-wait.Done():
				return errors.Join(errors.New("the gateway did not end in time"), wait.Err())
			}
		}
		return &demo.Running{HTTP: a.HTTP[0], GRPC: a.GRPC[0], Admin: a.Admin, Stop: stop}, nil
	case err := <-done:
		cancel()
		return nil, err
	case <-start.Done():
		cancel()
		return nil, errors.Join(start.Err(), <-done)
	}
}
