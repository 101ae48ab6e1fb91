// Package contract is what the cloud's services say to each other over NATS:
// subjects, streams, headers, and the requests and replies as JSON types.
// Services import this and never each other; whatever passes between two of
// them is declared here.
//
// It holds types and constants only.
package contract
