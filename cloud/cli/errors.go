package cli

import (
	"context"
	"errors"
	"fmt"
	"net/http"
)

// The exit codes, after sysexits.h.
const (
	exitOK        = 0
	exitFailed    = 1
	exitUsage     = 2
	exitTemporary = 75
	exitConfig    = 78
)

// usageError is a mistake on the command line.
type usageError struct{ err error }

func (e usageError) Error() string { return e.err.Error() }
func (e usageError) Unwrap() error { return e.err }

// configError is a mistake in how the command is set up.
type configError struct{ text string }

func (e configError) Error() string { return e.text }

// unreachable says that the server did not answer.
type unreachable struct {
	server string
	err    error
}

func (e *unreachable) Error() string {
	return fmt.Sprintf("the server at %s cannot be reached: %v. Is tidemark-cloud running there? Name another with --server or TIDEMARK_SERVER.", e.server, e.err)
}
func (e *unreachable) Unwrap() error { return e.err }

// refused is a problem that the API answered with (RFC 9457).
type refused struct {
	Status    int    `json:"status"`
	Title     string `json:"title"`
	Detail    string `json:"detail"`
	Reason    string `json:"reason"`
	RequestID string `json:"request_id"`
	Errors    []struct {
		Message  string `json:"message"`
		Location string `json:"location"`
		Value    any    `json:"value"`
	} `json:"errors"`
}

func (e *refused) Error() string {
	s := e.Detail
	if s == "" {
		s = fmt.Sprintf("The server answered %d %s.", e.Status, http.StatusText(e.Status))
	}
	for _, x := range e.Errors {
		s += fmt.Sprintf("\n  %s: %s", x.Location, x.Message)
		if x.Value != nil && x.Value != "" {
			s += fmt.Sprintf(" (got %v)", x.Value)
		}
	}
	return fmt.Sprintf("%s\n  reason %s, request_id %s", s, e.Reason, e.RequestID)
}

// exitCode is what the process ends with.
func exitCode(err error) int {
	var usage usageError
	var config configError
	var gone *unreachable
	var no *refused
	switch {
	case err == nil:
		return exitOK
	case errors.As(err, &usage):
		return exitUsage
	case errors.As(err, &config):
		return exitConfig
	case errors.As(err, &gone), errors.Is(err, context.DeadlineExceeded):
		return exitTemporary
	case errors.As(err, &no):
		switch {
		case no.Status == http.StatusServiceUnavailable, no.Status == http.StatusTooManyRequests, no.Status == http.StatusGatewayTimeout:
			return exitTemporary
		case no.Status == http.StatusBadRequest:
			return exitUsage
		}
	}
	return exitFailed
}
