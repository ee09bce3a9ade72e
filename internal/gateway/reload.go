package gateway

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/telemetry-gateway/telemetry-gateway/internal/config"
	"github.com/telemetry-gateway/telemetry-gateway/internal/secret"
	"github.com/telemetry-gateway/telemetry-gateway/internal/tenant"
)

// byFile is who asks for a reload when the configuration file has changed.
const byFile = "changed file"

// Reload replaces the configuration by what its file says now. It is validated whole and swapped whole; the last good one
// stays when the new one is bad. by says who asked, for the one line that is logged.
func (g *Gateway) Reload(by string) error {
	g.mu.Lock()
	defer g.mu.Unlock()
	old := g.state.Load()
	next, err := config.Load(old.cfg.Path)
	if err == nil {
		err = g.replace(old, next, by)
	}
	if err != nil {
		g.metrics.reloadOK.Set(0)
		// A file that stays bad is tried again and again, and told of once. Who asks gets an answer each time.
		if text := err.Error(); text != g.lastFault || by != byFile {
			g.lastFault = text
			g.log.Error("reload failed, the last good configuration stays in force", "by", by, "hash", old.cfg.Hash, "err", text)
		}
		return err
	}
	g.lastFault = ""
	return nil
}

func (g *Gateway) replace(old *state, next *config.Config, by string) error {
	changed := config.Changed(old.cfg, next)
	if restart := config.NeedRestart(changed); len(restart) > 0 {
		return fmt.Errorf("%s cannot change while running: restart the gateway, or put it back", strings.Join(restart, ", "))
	}
	if (old.cfg.Server.TLS.CertFile == "") != (next.Server.TLS.CertFile == "") {
		return fmt.Errorf("server.tls cannot be switched on or off while running: restart the gateway, or put it back")
	}
	if err := g.swap(next); err != nil {
		return err
	}
	g.log.Info("configuration reloaded", "by", by, "old_hash", old.cfg.Hash, "hash", next.Hash, "changed", list(changed),
		"removed_clients_that_pushed_in_the_last_hour", list(old.vanished(g.state.Load(), time.Now())))
	return nil
}

// list is s as a log writes it: an empty list and not null, so that the type of an attribute never changes.
func list(s []string) []string { return append([]string{}, s...) }

// swap compiles cfg and puts it in force, all of it or nothing.
func (g *Gateway) swap(cfg *config.Config) (err error) {
	g.secrets.Hold(func() {
		err = g.swapHeld(cfg)
		if st := g.state.Load(); st != nil {
			g.secrets.Retain(files(st.cfg)) // those of the configuration in force, whichever it is now
		}
	})
	return err
}

func (g *Gateway) swapHeld(cfg *config.Config) error {
	old := g.state.Load()
	st, err := g.compile(cfg, old)
	if err != nil {
		return err
	}
	directory, err := newDirectory(st, g.secrets.Get, g.directory.Load())
	if err != nil {
		return err
	}
	certificates, err := newTLS(cfg, g.secrets.Get)
	if err != nil {
		return err
	}
	g.tls.Store(certificates)
	g.state.Store(st)
	g.reduce.Adopt(st.reducePolicies())
	g.reduce.SetExampleValues(cfg.Server.ExampleValues)
	g.meters.Forget(func(env, client string) bool {
		return st.environments[env] != nil && st.environments[env].clients[client] != nil
	})
	g.directory.Store(directory)
	g.inflight.SetMax(int64(cfg.Server.MaxInflightBytes))
	g.metrics.setConfig(cfg.Hash, float64(time.Now().Unix()))
	if old != nil {
		old.closeUnused(st)
	}
	return nil
}

// closeUnused closes idle connections of exits that next does not have.
func (st *state) closeUnused(next *state) {
	for env, e := range st.environments {
		for name, x := range e.exits {
			if ne := next.environments[env]; ne == nil || ne.exits[name] != x {
				x.Close()
			}
		}
	}
}

// secretsChanged takes new contents of secret files: all of an offer or nothing, as the Store demands. It returns what it
// refuses, by path.
func (g *Gateway) secretsChanged(o secret.Offer) map[string]error {
	c := &change{offer: o, paths: o.Changed(), refused: make(map[string]error)}
	st := g.state.Load()
	for _, e := range st.environments {
		for _, x := range e.exits {
			c.try(filesOf(x.cfg.HTTPClientConfig), func() (func(), error) {
				http, err := inline(x.cfg.HTTPClientConfig, o.Get)
				if err != nil {
					return nil, err
				}
				return x.Prepare(http)
			})
		}
	}
	c.try(clientFiles(st.cfg), func() (func(), error) {
		directory, err := newDirectory(st, o.Get, g.directory.Load())
		return func() { g.directory.Store(directory) }, err
	})
	c.try(tlsFiles(st.cfg), func() (func(), error) {
		certificates, err := newTLS(st.cfg, o.Get)
		return func() { g.tls.Store(certificates) }, err
	})
	if len(c.refused) > 0 {
		return c.refused
	}
	for _, use := range c.use {
		use()
	}
	return nil
}

// change is an offer of new secrets while its parts are built.
type change struct {
	offer   secret.Offer
	paths   []string
	use     []func() // puts what was built to use
	refused map[string]error
}

// try builds what depends on paths, if one of them has changed, or notes why it cannot be.
func (c *change) try(paths []string, build func() (use func(), err error)) {
	mine := slices.DeleteFunc(slices.Clone(paths), func(p string) bool { return !slices.Contains(c.paths, p) })
	if len(mine) == 0 {
		return
	}
	use, err := build()
	if err == nil {
		c.use = append(c.use, use)
		return
	}
	for _, p := range mine {
		c.refused[p] = err
	}
	// Where it is known which of the files is wrong, the others are not blamed.
	var problems tenant.Problems
	if errors.As(err, &problems) && len(problems.Refusals()) > 0 {
		for _, p := range mine {
			delete(c.refused, p)
		}
		maps.Copy(c.refused, problems.Refusals())
	}
}

// retryReload is when a reload that failed is tried again: its cause may lie elsewhere, in a secret file that was late.
const retryReload = 5 * time.Second

// watchConfig reloads when the configuration file changes, until ctx ends. It watches like a secret file: through
// renames, and through the symbolic links that Kubernetes swaps.
func (g *Gateway) watchConfig(ctx context.Context) error {
	path := g.state.Load().cfg.Path
	files := secret.New(slog.New(slog.DiscardHandler)) // Reload says what there is to say
	// What Reload refuses counts as seen all the same: then a return to what is in force is a change, too.
	files.OnChange(func(o secret.Offer) map[string]error {
		if content, err := o.Get(path); err == nil {
			g.reloadChanged(content)
		}
		return nil
	})
	if content, err := files.Get(path); err != nil {
		g.log.Error("the configuration file is not watched for changes", "err", err)
	} else {
		g.reloadChanged(content) // since it was loaded
	}
	var group errgroup.Group
	group.Go(func() error { return files.Run(ctx) })
	retry := time.NewTicker(retryReload)
	defer retry.Stop()
	for {
		select {
		case <-ctx.Done():
			return group.Wait()
		case <-retry.C:
			// A file that is gone or empty has no content to offer, and is told of here.
			if g.reloadFailed() || len(files.Stale()) > 0 {
				_ = g.Reload(byFile)
			}
		}
	}
}

// reloadChanged reloads unless content is in force already, by a signal that came with the change.
func (g *Gateway) reloadChanged(content []byte) {
	sum := sha256.Sum256(content)
	if g.reloadFailed() || !strings.HasPrefix(hex.EncodeToString(sum[:]), g.state.Load().cfg.Hash) {
		_ = g.Reload(byFile)
	}
}

func (g *Gateway) reloadFailed() bool {
	g.mu.Lock()
	defer g.mu.Unlock()
	return g.lastFault != ""
}
