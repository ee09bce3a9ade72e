package main

import (
	"encoding/json"
	"fmt"
	"log/slog"

	"github.com/spf13/cobra"

	"github.com/telemetry-gateway/telemetry-gateway/internal/gateway"
)

func explainCommand() *cobra.Command {
	var file string
	var q gateway.ExplainQuestion
	var asJSON bool
	cmd := &cobra.Command{
		Use: "explain --config.file=FILE --environment=ENV LABELS", Short: "Say what every rule does to one series, and what limits say of the result", Args: args("LABELS"),
		Long: `explain runs the rules of one environment over one label set, written as in PromQL, and says of every rule in order what it
matched and what it changed, then what leaves and what the limits say of that. It opens no port and no connection.
What the guard would say of live traffic a running gateway answers: POST /api/v1/explain on the admin port.`,
		Example: `  gateway explain --config.file=gateway.yaml --environment=prod 'http_requests_total{pod="a",path="/"}'
  gateway explain --config.file=gateway.yaml --environment=prod --signal=logs '{app="shop",pod="a"}'
  gateway explain --config.file=gateway.yaml --environment=prod --otlp '{__name__="requests","resource.service.name"="shop"}'`,
		RunE: func(cmd *cobra.Command, given []string) error {
			if file == "" || q.Environment == "" {
				return fmt.Errorf("%w: --config.file and --environment are needed", errUsage)
			}
			cfg, err := load(cmd.OutOrStdout(), file)
			if err != nil {
				return err
			}
			g, err := gateway.New(cfg, gateway.Options{Log: slog.New(slog.DiscardHandler), Version: version})
			if err != nil {
				return err
			}
			q.Labels = given[0]
			x, err := g.Explain(q)
			if err != nil {
				return err
			}
			if asJSON {
				e := json.NewEncoder(cmd.OutOrStdout())
				e.SetIndent("", "  ")
				return e.Encode(x)
			}
			_, err = fmt.Fprint(cmd.OutOrStdout(), x)
			return err
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&file, "config.file", "", "the configuration")
	flags.StringVar(&q.Environment, "environment", "", "whose rules")
	flags.StringVar(&q.Client, "client", "", "whose stamps and limits; the first by name if it is not said")
	flags.StringVar(&q.Signal, "signal", "metrics", "metrics, logs or traces")
	flags.BoolVar(&q.OTLP, "otlp", false, "the labels are attributes as OTLP rules see them, resource.* and scope.* beside them")
	flags.BoolVar(&asJSON, "json", false, "answer as JSON")
	return cmd
}
