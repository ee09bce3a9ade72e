package main

import (
	"context"
	"flag"
	"fmt"
	"net"
	"net/http"
	"net/http/httputil"
	"net/url"
	"time"
)

// runProxy serves the least that could stand in the gateway's place, until ctx ends: the standard library's proxy, which puts
// credentials on what it forwards, knows nobody, counts nothing and refuses nothing.
func runProxy(ctx context.Context, args []string) error {
	f := flag.NewFlagSet("loadtest proxy", flag.ContinueOnError)
	listen := f.String("listen", "127.0.0.1:0", "`ADDRESS` to listen on")
	to := f.String("to", "", "`URL` to forward to")
	if err := f.Parse(args); err != nil {
		return err
	}
	target, err := url.Parse(*to)
	if err != nil || target.Host == "" {
		return fmt.Errorf("-to=%q is not the URL of a server", *to)
	}
	l, err := net.Listen("tcp", *listen)
	if err != nil {
		return err
	}
	srv := &http.Server{ReadHeaderTimeout: 10 * time.Second, Handler: &httputil.ReverseProxy{
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(target)
			r.Out.SetBasicAuth("e0", "glc_0123456789abcdef")
		},
		Transport: &http.Transport{MaxIdleConnsPerHost: 1000, DisableCompression: true},
	}}
	stop := context.AfterFunc(ctx, func() { _ = srv.Close() })
	defer stop()
	if err := srv.Serve(l); ctx.Err() == nil {
		return err
	}
	return nil
}
