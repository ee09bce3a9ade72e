// Loadtest measures the gateway, or any other program that takes the same pushes: how many items a CPU-second forwards, how
// long a push takes, how much memory that needs, and whether everything that was accepted arrived, once and as it should be.
// It starts the gateway and a sink as processes of their own and changes nothing of them. People and CI run it; README.md
// beside it says how to read what it prints.
package main

import (
	"context"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"io"
	"net"
	"os"
	"os/signal"
	"syscall"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/loadtest/sink"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	err := command(ctx, os.Args[1:], os.Stdout, os.Stderr)
	stop()
	switch {
	case errors.Is(err, flag.ErrHelp):
	case err != nil:
		fmt.Fprintln(os.Stderr, "loadtest:", err)
		os.Exit(1)
	}
}

// options are the flags of the runner.
type options struct {
	scenario, out  string
	duration       time.Duration
	rate           float64
	conns          int
	binary         string
	floor          bool
	parts, profile bool // profile is parts, and the profiles are kept
	target, token  string
	pid            int
	metrics        string
	sinkListen     string
	args           []string // all flags as they were given
	// patience is how long nothing may arrive before what is missing is lost.
	patience time.Duration

	// peer is measured instead of the gateway; it is what a comparison sets, and peerBinary goes with it.
	peer       *peer
	peerBinary string
}

// patience is for programs with a queue, which may be waiting to try again; queuePatience for those that say that something
// is in it, though nothing comes.
const (
	patience      = 10 * time.Second
	queuePatience = time.Minute
)

const usage = `usage: loadtest [flags]            measure
       loadtest compare [flags]    measure the gateway and other programs in turn
       loadtest quote [flags]      write what results say into results.md and README.md
       loadtest stages             one table of what go test -bench BenchmarkStages writes, read from stdin
       loadtest sink [flags]       only take pushes and add them up
       loadtest proxy [flags]      only forward pushes, as the standard library does

scenarios:`

// command runs one of the programs that this one is: the runner, or what is named first.
func command(ctx context.Context, args []string, out, progress io.Writer) error {
	if len(args) > 0 {
		switch args[0] {
		case "sink":
			return runSink(ctx, args[1:], out)
		case "proxy":
			return runProxy(ctx, args[1:])
		case "compare":
			return runCompare(ctx, args[1:], out, progress)
		case "quote":
			return runQuote(args[1:])
		case "stages":
			return runStages(os.Stdin, out)
		}
	}
	return runMeasure(ctx, args, out, progress)
}

// runMeasure reads the flags of the runner, and runs it.
func runMeasure(ctx context.Context, args []string, out, progress io.Writer) error {
	o := options{args: args, patience: patience}
	f := flag.NewFlagSet("loadtest", flag.ContinueOnError)
	f.SetOutput(progress)
	f.Usage = func() {
		fmt.Fprintln(progress, usage)
		for _, s := range scenarios() {
			fmt.Fprintf(progress, "  %-28s %s\n", s.name, s.about)
		}
		fmt.Fprintln(progress, "\nflags:")
		f.PrintDefaults()
	}
	f.StringVar(&o.scenario, "scenario", "rw1", "`NAMES` of scenarios, with commas between them, or all")
	f.DurationVar(&o.duration, "duration", 10*time.Second, "how long each scenario is measured")
	f.Float64Var(&o.rate, "rate", 0, "items a second of the first load; 0: as the scenario says")
	f.IntVar(&o.conns, "connections", 0, "connections of the first load; 0: as the scenario says")
	f.StringVar(&o.out, "out", "", "write results.json, results.md and plots into this `FOLDER`")
	f.StringVar(&o.binary, "gateway", "", "`BINARY` of the gateway; empty: it is built from this module")
	f.BoolVar(&o.floor, "floor", false, "measure what the parts cost in this process, and show the sum beside each result")
	f.BoolVar(&o.parts, "parts", false, "say what each part of the gateway takes of its CPU, in another run of each scenario, and of its memory")
	f.BoolVar(&o.profile, "profile", false, "as -parts, and keep the profiles of CPU, heap and allocations in -out")
	f.StringVar(&o.target, "target", "", "`URL` of another program, measured instead of the gateway; it must forward to -sink")
	f.IntVar(&o.pid, "pid", 0, "process `ID` of that program")
	f.StringVar(&o.token, "token", "", "bearer token for that program")
	f.StringVar(&o.metrics, "metrics", "", "metrics `URL` of that program, for its allocations if it is written in Go")
	f.StringVar(&o.sinkListen, "sink", "127.0.0.1:0", "`ADDRESS` of the sink")
	if err := f.Parse(args); err != nil {
		return err
	}
	if f.NArg() > 0 {
		return fmt.Errorf("%q is not a flag", f.Arg(0))
	}
	if (o.target == "") != (o.pid == 0) {
		return errors.New("-target and -pid go together")
	}
	if o.profile && o.out == "" {
		return errors.New("-profile needs -out")
	}
	o.parts = o.parts || o.profile
	if o.parts && o.target != "" {
		return errors.New("-parts and -profile are of the gateway, not of -target")
	}
	return runAll(ctx, o, out, progress)
}

// sinkReady begins the line on which a sink says where it listens.
const sinkReady = "sink: "

// runSink serves a sink until ctx ends.
func runSink(ctx context.Context, args []string, out io.Writer) error {
	f := flag.NewFlagSet("loadtest sink", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "`ADDRESS` to listen on")
	every := f.Uint64("every", 1, "check each `N`th millisecond by content")
	certFile := f.String("cert", "", "certificate `FILE`; empty: no TLS")
	keyFile := f.String("key", "", "key `FILE`")
	if err := f.Parse(args); err != nil {
		return err
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	scheme := "http://"
	var cert *tls.Certificate
	if *certFile != "" {
		pair, err := tls.LoadX509KeyPair(*certFile, *keyFile)
		if err != nil {
			return err
		}
		scheme, cert = "https://", &pair
	}
	fmt.Fprintln(out, sinkReady+scheme+l.Addr().String())
	return (&sink.Sink{Every: *every}).Serve(ctx, l, cert)
}
