package cloud

import (
	"errors"
	"fmt"
	"log/slog"
	"net"
	"slices"
	"strings"
	"time"
)

// The roles that a process can have.
const (
	RoleReceiver = "receiver"
	RoleData     = "data"
	RoleRule     = "rule"
	RoleTrace    = "trace"
	RoleGateway  = "gateway"
)

// Roles returns all roles, the default.
func Roles() []string { return []string{RoleReceiver, RoleRule, RoleData, RoleTrace, RoleGateway} }

// Config says what a cloud process does. The zero value of a field that says
// nothing else is no default: begin with [DefaultConfig].
type Config struct {
	// Dir is the folder of everything that is kept.
	Dir string
	// Roles that this process has.
	Roles []string
	// MQTTListen is where the embedded broker listens. Loopback only: it has
	// no encryption and no passwords.
	MQTTListen string
	// MQTT is the address of an external broker instead, such as mqtt://127.0.0.1:1883.
	MQTT string
	// NATS is the address of an external NATS server; empty: the embedded one.
	NATS string
	// NATSListen is where the embedded NATS listens for other processes, on
	// loopback; empty: nowhere.
	NATSListen string
	// HTTPListen is where API and console listen. Loopback only.
	HTTPListen string
	// Rules is the folder of rule files; empty: no rules.
	Rules string
	// Retention is how long readings stay in the hot store; 0 for the service's default.
	Retention time.Duration
	// Ledger can be switched off to measure what it costs.
	LedgerOff bool
	Version   string
	Log       *slog.Logger

	// OnReady is called once everything listens; for tests and the demo.
	OnReady func(Addresses)
}

// Addresses are where a running cloud listens.
type Addresses struct {
	MQTT string // host:port; empty with an external broker
	HTTP string // host:port; empty without the gateway role
	NATS string // URL; empty if the embedded NATS does not listen
}

// DefaultConfig is one process with everything embedded.
func DefaultConfig() Config {
	return Config{Dir: "/var/lib/tidemark-cloud", Roles: Roles(), MQTTListen: "127.0.0.1:1883", HTTPListen: "127.0.0.1:8080"}
}

// Validate returns every mistake, joined.
func (c *Config) Validate() error {
	var errs []error
	if c.Dir == "" && c.NATS == "" {
		errs = append(errs, errors.New("data: no folder is named; the stream needs one that survives a reboot"))
	}
	if len(c.Roles) == 0 {
		errs = append(errs, fmt.Errorf("roles: none is named; there are %s", strings.Join(Roles(), ", ")))
	}
	for _, r := range c.Roles {
		if !slices.Contains(Roles(), r) {
			errs = append(errs, fmt.Errorf("roles: %q is not one of %s", r, strings.Join(Roles(), ", ")))
		}
	}
	if c.has(RoleReceiver) && c.MQTT == "" {
		errs = append(errs, loopback("mqtt-listen", c.MQTTListen))
	}
	if c.has(RoleGateway) {
		errs = append(errs, loopback("http-listen", c.HTTPListen))
	}
	if c.NATS == "" && c.NATSListen != "" {
		errs = append(errs, loopback("nats-listen", c.NATSListen))
	}
	return errors.Join(errs...)
}

func (c *Config) has(role string) bool { return slices.Contains(c.Roles, role) }

// loopback refuses an address at which others than this machine could reach a
// listener that has neither encryption nor passwords.
func loopback(what, addr string) error {
	host, _, err := net.SplitHostPort(addr)
	if err != nil {
		return fmt.Errorf("%s: %q is not host:port", what, addr)
	}
	if ip := net.ParseIP(host); host != "localhost" && (ip == nil || !ip.IsLoopback()) {
		return fmt.Errorf("%s: %s is not loopback; this version has no encryption and no passwords, so put a proxy that has in front of 127.0.0.1", what, addr)
	}
	return nil
}
