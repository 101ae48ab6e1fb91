package broker

import (
	"context"
	"errors"

	"tidemark/protocol"
)

// Handler takes what gateways send. Its methods may be called from many
// goroutines, but for one gateway in order.
type Handler interface {
	// Bundle deals with the payload of an up topic. Nil says that every message
	// in it is committed or dead-lettered, or that the ack says otherwise. An
	// error says that it could not be dealt with now; the gateway sends it again.
	// One that wraps ErrRefused says that it never will.
	Bundle(ctx context.Context, g protocol.Gateway, p Publish) error
	// Presence takes the payload of a presence topic.
	Presence(ctx context.Context, g protocol.Gateway, payload []byte)
}

// Publish is a bundle as published, with its user properties.
type Publish struct {
	Payload     []byte
	Traceparent string
	SentMs      int64
}

// ErrRefused says that a payload can never be accepted.
var ErrRefused = errors.New("refused")

// The user properties of a bundle.
const (
	propTraceparent = "traceparent"
	propSent        = "sent"
)
