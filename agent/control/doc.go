// Package control is the agent's socket for the technician's commands: status,
// tail, outbox and trace, as JSON over HTTP on a Unix socket that only the
// agent's user and group may open.
//
// It reads; nothing that it does changes what the agent does.
package control
