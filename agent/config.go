package agent

import (
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/url"
	"os"
	"path/filepath"

	"go.yaml.in/yaml/v4"
)

// Config is what an agent needs to know beside its profile.
type Config struct {
	// Profile is the file that says what to read.
	Profile string `yaml:"profile"`
	// Data is the folder of the outbox.
	Data string `yaml:"data"`
	// Socket is where status, tail, outbox and trace ask; empty: agent.sock in Data.
	Socket string `yaml:"socket"`
	// Broker is the cloud's MQTT address: mqtt://host:port.
	Broker string `yaml:"broker"`
	// Budget is how much the outbox may hold, in bytes; 0: 512 MiB.
	Budget int64 `yaml:"budget"`

	Version string       `yaml:"-"`
	Log     *slog.Logger `yaml:"-"`

	// OnReady is called once, when everything runs; it may be nil.
	OnReady func() `yaml:"-"`
}

// DefaultConfig is what an installed agent starts from.
func DefaultConfig() Config {
	return Config{Profile: "/etc/tidemark/profile.yaml", Data: "/var/lib/tidemark", Broker: "mqtt://127.0.0.1:1883"}
}

// LoadConfig reads a configuration file over cfg. Unknown keys are mistakes.
func LoadConfig(path string, cfg *Config) error {
	f, err := os.Open(path)
	if err != nil {
		return fmt.Errorf("agent: %w", err)
	}
	defer f.Close()
	d := yaml.NewDecoder(f)
	d.KnownFields(true)
	if err := d.Decode(cfg); err != nil && !errors.Is(err, io.EOF) { // an empty file says nothing
		return fmt.Errorf("agent: %s: %w", path, err)
	}
	return nil
}

// Validate returns every mistake, joined.
func (c *Config) Validate() error {
	var errs []error
	if c.Profile == "" {
		errs = append(errs, errors.New("profile: no file is named; say where the site's profile is"))
	}
	if c.Data == "" {
		errs = append(errs, errors.New("data: no folder is named; the outbox needs one that survives a reboot"))
	}
	if c.Budget < 0 || c.Budget > 0 && c.Budget < 1<<20 {
		errs = append(errs, fmt.Errorf("budget: %d bytes are too few; give it at least 1 MiB, or 0 for the default", c.Budget))
	}
	if _, err := c.broker(); err != nil {
		errs = append(errs, err)
	}
	return errors.Join(errs...)
}

func (c *Config) broker() (*url.URL, error) {
	u, err := url.Parse(c.Broker)
	if err != nil || u.Hostname() == "" {
		return nil, fmt.Errorf("broker: %q is not an address such as mqtt://127.0.0.1:1883", c.Broker)
	}
	if u.Scheme != "mqtt" && u.Scheme != "tcp" {
		return nil, fmt.Errorf("broker: scheme %q is not known; this agent speaks mqtt://", u.Scheme)
	}
	if u.Port() == "" {
		u.Host = net.JoinHostPort(u.Hostname(), "1883")
	}
	return u, nil
}

func (c *Config) socket() string {
	if c.Socket != "" {
		return c.Socket
	}
	return filepath.Join(c.Data, "agent.sock")
}
