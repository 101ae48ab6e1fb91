//go:build !linux

package pty

import "errors"

var errLinuxOnly = errors.New("pty: pseudo-terminals that stand in for serial ports are made on Linux only; use a real port or TCP")

// PTY is one pseudo-terminal; see the Linux version.
type PTY struct{ Path string }

// Open fails: only Linux is supported.
func Open() (*PTY, error) { return nil, errLinuxOnly }

// Read fails.
func (p *PTY) Read([]byte) (int, error) { return 0, errLinuxOnly }

// Write fails.
func (p *PTY) Write([]byte) (int, error) { return 0, errLinuxOnly }

// Close fails.
func (p *PTY) Close() error { return errLinuxOnly }

// Link fails.
func (p *PTY) Link(string) error { return errLinuxOnly }
