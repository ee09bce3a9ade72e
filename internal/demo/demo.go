// Package demo shows the gateway at work in one process: senders of every signal in two environments, the gateway, and a
// pretend Grafana Cloud that fails now and then. What it shows and sums up is what the senders sent and what the cloud
// stored, item by item, never what the gateway says of itself. It needs no network and no configuration: all addresses
// are on 127.0.0.1, all files in a temporary folder that is removed. cmd/gateway calls it.
package demo

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/telemetry-gateway/telemetry-gateway/internal/fakecloud"
)

// Options of a demo. Start and Out are required.
type Options struct {
	// Start starts the gateway with a configuration file and returns when it takes pushes. The gateway runs until
	// Running.Stop; ctx bounds only the start. What it logs to log at level warn or above is shown among the events.
	Start func(ctx context.Context, configPath string, log *slog.Logger) (*Running, error)
	// Out is where the demo shows itself. On a terminal it redraws in place, else it prints a block now and then.
	Out io.Writer
	// Duration ends the demo by itself. 0: it runs until ctx is done.
	Duration time.Duration

	// Pace is the time between two pushes of a sender. 0: 400ms.
	Pace time.Duration
	// FaultEvery is the time between two faults of the cloud. 0: 5s.
	FaultEvery time.Duration
	// DrawEvery is the time between two views. 0: 250ms on a terminal, else 5s.
	DrawEvery time.Duration
	// Seed of chance in pace and faults. 0: another one each time.
	Seed uint64
}

// Running is a gateway that was started.
type Running struct {
	// HTTP, GRPC and Admin are the bound addresses, host:port. Admin may be empty.
	HTTP, GRPC, Admin string
	// Stop drains and ends the gateway, and returns when nothing of it runs any more.
	Stop func(ctx context.Context) error
}

// ErrUnbalanced is returned by Run when an item was lost, altered, misplaced or doubled without a re-send.
var ErrUnbalanced = errors.New("the books do not balance")

// stopTimeout bounds the end: the last deliveries, and the gateway's own drain.
const stopTimeout = 15 * time.Second

// Run plays the demo until ctx is done or Options.Duration is over, prints a summary and returns ErrUnbalanced, or what
// kept it from starting. That ctx is done is no error.
func Run(ctx context.Context, o Options) error {
	o = o.withDefaults()
	dir, err := os.MkdirTemp("", "gateway-demo-")
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)

	d := &demo{opts: o, stack: newStack(), books: newBooks(), began: time.Now()}
	d.cloud = fakecloud.New(fakecloud.Options{
		Instances: d.stack.instances(),
		Keep:      -1, // a demo may run for days
		OnPush:    d.books.sighted,
		Latency:   func() time.Duration { return time.Duration(2+rand.IntN(12)) * time.Millisecond },
		Seed:      o.Seed,
	})
	if err := d.cloud.Start(); err != nil {
		return err
	}
	defer d.cloud.Close()

	path := filepath.Join(dir, "gateway.yaml")
	if err := d.stack.write(path, d.cloud.URL()); err != nil {
		return fmt.Errorf("write the demo's configuration: %w", err)
	}
	// The gateway outlives ctx, so that senders can deliver what they hold when the viewer has seen enough.
	d.gateway, err = o.Start(context.WithoutCancel(ctx), path, slog.New(&logHandler{books: d.books}))
	if err != nil {
		return fmt.Errorf("start the gateway: %w", err)
	}
	err = d.play(ctx)

	stop, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTimeout)
	defer cancel()
	if stopErr := d.gateway.Stop(stop); stopErr != nil {
		err = errors.Join(err, fmt.Errorf("stop the gateway: %w", stopErr))
	}
	// Only now can nothing arrive any more, late doubles included.
	s := d.snapshot()
	if printErr := printSummary(o.Out, s); printErr != nil {
		return errors.Join(err, printErr)
	}
	if err == nil && !s.balanced() {
		err = ErrUnbalanced
	}
	return err
}

func (o Options) withDefaults() Options {
	if o.Pace <= 0 {
		o.Pace = 400 * time.Millisecond
	}
	if o.FaultEvery <= 0 {
		o.FaultEvery = 5 * time.Second
	}
	if o.Seed == 0 {
		o.Seed = rand.Uint64()
	}
	return o
}

// demo is one that runs.
type demo struct {
	opts    Options
	stack   *stack
	cloud   *fakecloud.Cloud
	gateway *Running
	books   *books
	began   time.Time
}

// play lets senders send and the cloud fail until ctx or Duration ends it, then lets the senders deliver what they hold.
func (d *demo) play(ctx context.Context) error {
	ctx, end := context.WithCancel(ctx)
	defer end()
	if d.opts.Duration > 0 {
		var cancel context.CancelFunc
		ctx, cancel = context.WithTimeout(ctx, d.opts.Duration)
		defer cancel()
	}
	screen := newScreen(d.opts.Out, d.opts.DrawEvery)
	defer screen.close()
	senders, err := d.senders()
	if err != nil {
		return err
	}
	defer func() {
		for _, s := range senders {
			s.close()
		}
	}()

	sending, stopSending := context.WithCancel(context.WithoutCancel(ctx))
	defer stopSending()
	var wg sync.WaitGroup
	for i, s := range senders {
		chance := rand.New(rand.NewPCG(d.opts.Seed, uint64(i)+1))
		wg.Go(func() { s.run(sending, d.opts.Pace, chance) })
	}
	weather := make(chan struct{})
	go func() {
		defer close(weather)
		d.weather(ctx, rand.New(rand.NewPCG(d.opts.Seed, 0)))
	}()

	err = screen.run(ctx, d.snapshot)
	end() // the view may have ended first, by an error
	// First the sky clears, then the senders are told to finish: else their last tries would meet a fault.
	<-weather
	d.cloud.Heal()
	stopSending()
	wg.Wait()
	return err
}
