package diary

import (
	"context"
	"fmt"
	"net"
	"net/url"
	"time"

	"tidemark/protocol"
)

// probeTimeout bounds each rung.
const probeTimeout = 3 * time.Second

// walk climbs the ladder to a broker and returns the first rung that fails,
// or "" if TCP connects.
func walk(ctx context.Context, broker *url.URL) (rung, text string) {
	host, port := broker.Hostname(), broker.Port()
	ip := net.ParseIP(host)
	loopback := ip != nil && ip.IsLoopback() || host == "localhost"
	if !loopback {
		if err := interfaceUp(); err != nil {
			return protocol.RungInterface, err.Error()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, 4*probeTimeout)
	defer cancel()
	if ip == nil {
		look, stop := context.WithTimeout(ctx, probeTimeout)
		addrs, err := net.DefaultResolver.LookupIPAddr(look, host)
		stop()
		if err != nil {
			return protocol.RungDNS, err.Error()
		}
		ip = addrs[0].IP
	}
	addr := net.JoinHostPort(ip.String(), port)
	d := net.Dialer{Timeout: probeTimeout}
	udp, err := d.DialContext(ctx, "udp", addr) // sends nothing; asks the kernel for a route
	if err != nil {
		return protocol.RungRoute, err.Error()
	}
	udp.Close()
	tcp, err := d.DialContext(ctx, "tcp", addr)
	if err != nil {
		return protocol.RungTCP, err.Error()
	}
	tcp.Close()
	return "", ""
}

// interfaceUp looks for an interface other than loopback that is up and has an address.
func interfaceUp() error {
	ifaces, err := net.Interfaces()
	if err != nil {
		return fmt.Errorf("list interfaces: %w", err)
	}
	for _, i := range ifaces {
		if i.Flags&net.FlagLoopback != 0 || i.Flags&net.FlagRunning == 0 {
			continue
		}
		if addrs, err := i.Addrs(); err == nil && len(addrs) > 0 {
			return nil
		}
	}
	return fmt.Errorf("no network interface is up with an address; check the cable or the modem")
}
