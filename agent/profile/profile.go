package profile

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"

	"tidemark/drivers"
)

// MaxSize is the longest profile in bytes.
const MaxSize = 4 << 20

// Profile is what a gateway runs.
type Profile struct {
	File string // as given to Load
	// Hash names this version: 16 hexadecimal digits of the file's SHA-256.
	// It does not depend on the environment's variables.
	Hash          string
	Site, Gateway string
	Cadence       Cadence
	Buses         []Bus
}

// Cadence says how often things happen.
type Cadence struct {
	Interval  time.Duration // between two polls of a device that has none of its own
	Commit    time.Duration // between two commits of the outbox: 100 ms to 60 s
	Send      time.Duration // between two messages of readings: 100 ms to 10 min
	Heartbeat time.Duration // between two heartbeats: 5 s to 1 h
}

// DefaultCadence is what a profile that says nothing else has.
func DefaultCadence() Cadence {
	return Cadence{Interval: time.Second, Commit: time.Second, Send: time.Second, Heartbeat: 30 * time.Second}
}

// The bounds of intervals in a profile.
const (
	MinInterval = 10 * time.Millisecond
	MaxInterval = 24 * time.Hour
	MaxSilence  = 7 * 24 * time.Hour
)

// Bus is one bus with the driver that serves it.
type Bus struct {
	Name     string
	Driver   drivers.Driver
	Spec     drivers.BusSpec
	settings map[pointName]Settings
}

type pointName struct{ device, point string }

// Settings are what a profile says about a point for every driver alike.
type Settings struct {
	// Deadband is the least change of a number that is reported, absolute, in
	// the point's unit; 0 reports every reading.
	Deadband float64
	// MaxSilence is the longest time without a report although nothing
	// changed; 0 for no such limit.
	MaxSilence time.Duration
}

// Settings returns what the profile says about a point of the bus, as a scan
// names it.
func (b *Bus) Settings(p drivers.Point) Settings {
	return b.settings[pointName{p.Device, p.Name}]
}

// Points returns how many points the profile lists.
func (p *Profile) Points() (n int) {
	for _, b := range p.Buses {
		for _, d := range b.Spec.Devices {
			n += len(d.Points)
		}
	}
	return n
}

// Load reads a profile from a file. Mistakes in it come as an *Error; other
// errors say that the file could not be read, or that a known driver is unfit.
func Load(path string, known []drivers.Driver) (*Profile, error) {
	f, err := os.Open(path)
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	text, err := io.ReadAll(io.LimitReader(f, MaxSize+1))
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return nil, fmt.Errorf("profile: reading %s: %w", path, err)
	}
	return Parse(path, text, known, os.LookupEnv)
}

// Parse reads a profile from its text. file is its name in mistakes, and its
// folder is where relative paths in it start; lookup finds the environment's
// variables.
func Parse(file string, text []byte, known []drivers.Driver, lookup func(string) (string, bool)) (*Profile, error) {
	if err := checkDrivers(known); err != nil {
		return nil, err
	}
	r := &report{file: file}
	if len(text) > MaxSize {
		r.add(0, 0, ErrTooLong, "the file is too long: %v; split the site into several gateways", ErrTooLong)
		return nil, r.err()
	}
	dir, err := filepath.Abs(filepath.Dir(file))
	if err != nil {
		return nil, fmt.Errorf("profile: %w", err)
	}
	sum := sha256.Sum256(text)
	p := &Profile{File: file, Hash: hex.EncodeToString(sum[:8])}
	if root, bad := parseTree(r, text, lookup); root != nil {
		d := decoder{report: r, known: known, dir: dir, profile: p, bad: bad}
		d.root(root)
	}
	if err := r.err(); err != nil {
		return nil, err
	}
	return p, nil
}
