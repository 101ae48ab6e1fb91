package receiver

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/nats-io/nats.go/jetstream"

	"tidemark/protocol"
)

// schemaStore is the bucket of schemas with a cache in front. A schema is in
// the bucket before the first bundle that needs it is in the stream, and longer
// than that bundle: the bucket forgets what was not written for long (each start
// of an agent makes new schemas), so one that is still used is written again.
type schemaStore struct {
	kv      jetstream.KeyValue
	refresh time.Duration // age at which a schema in use is written again; 0: never

	mu    sync.Mutex // not held while the bucket is asked: gateways do not wait for each other
	cache map[protocol.SchemaID]cached
}

type cached struct {
	schema  *protocol.Schema
	written time.Time // to the bucket, by its clock
}

// maxSchemas bounds the cache.
const maxSchemas = 20_000

func newSchemaStore(ctx context.Context, kv jetstream.KeyValue) (*schemaStore, error) {
	status, err := kv.Status(ctx)
	if err != nil {
		return nil, err
	}
	return &schemaStore{kv: kv, refresh: status.TTL() / 2, cache: map[protocol.SchemaID]cached{}}, nil
}

// put stores a schema that a bundle brought.
func (s *schemaStore) put(ctx context.Context, schema *protocol.Schema) error {
	have, err := s.get(ctx, schema.ID())
	if err != nil || have != nil {
		return err
	}
	return s.write(ctx, schema)
}

func (s *schemaStore) write(ctx context.Context, schema *protocol.Schema) error {
	if _, err := s.kv.Put(ctx, schema.ID().String(), schema.Encoded()); err != nil {
		return fmt.Errorf("receiver: store a schema: %w", err)
	}
	s.keep(schema, time.Now())
	return nil
}

func (s *schemaStore) keep(schema *protocol.Schema, written time.Time) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if len(s.cache) >= maxSchemas {
		clear(s.cache)
	}
	s.cache[schema.ID()] = cached{schema, written}
}

// get returns a schema, and nil if it is not known or damaged.
func (s *schemaStore) get(ctx context.Context, id protocol.SchemaID) (*protocol.Schema, error) {
	s.mu.Lock()
	c := s.cache[id]
	s.mu.Unlock()
	if c.schema == nil {
		v, err := s.kv.Get(ctx, id.String())
		if errors.Is(err, jetstream.ErrKeyNotFound) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("receiver: look up schema %s: %w", id, err)
		}
		schema, err := protocol.DecodeSchema(v.Value())
		if err != nil || schema.ID() != id {
			return nil, nil
		}
		c = cached{schema, v.Created()}
		s.keep(schema, c.written)
	}
	if s.refresh > 0 && time.Since(c.written) > s.refresh {
		return c.schema, s.write(ctx, c.schema)
	}
	return c.schema, nil
}

// finder returns a function that looks schemas up for one bundle, and one that
// says whether that failed: the gateway is asked for a schema that is not there,
// not for one that is out of reach.
func (s *schemaStore) finder(ctx context.Context) (find protocol.LookupSchema, failed func() error) {
	missing := map[protocol.SchemaID]bool{}
	var err error
	find = func(id protocol.SchemaID) *protocol.Schema {
		if err != nil || missing[id] {
			return nil
		}
		var schema *protocol.Schema
		schema, err = s.get(ctx, id)
		missing[id] = schema == nil
		return schema
	}
	return find, func() error { return err }
}
