package cli

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// askTimeout bounds an answer of the agent; it gathers only what it knows.
const askTimeout = 10 * time.Second

// open asks a running agent. The caller closes what it returns.
func (c *commands) open(ctx context.Context, path string) (io.ReadCloser, error) {
	client := http.Client{Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			return (&net.Dialer{Timeout: 2 * time.Second}).DialContext(ctx, "unix", c.socket())
		},
		DisableKeepAlives: true,
	}}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://agent"+path, nil)
	if err != nil {
		return nil, failed(exitFailed, err)
	}
	resp, err := client.Do(req)
	if err != nil {
		return nil, c.noAnswer(err)
	}
	if resp.StatusCode != http.StatusOK {
		defer resp.Body.Close()
		text, rerr := io.ReadAll(io.LimitReader(resp.Body, 4096))
		if rerr != nil {
			return nil, failed(exitFailed, fmt.Errorf("the agent's answer broke off: %w", rerr))
		}
		if resp.StatusCode == http.StatusBadRequest {
			return nil, failed(exitUsage, errors.New(strings.TrimSpace(string(text))))
		}
		return nil, failed(exitFailed, fmt.Errorf("the agent at %s answers %s: %s", c.socket(), resp.Status, strings.TrimSpace(string(text))))
	}
	return resp.Body, nil
}

// noAnswer says why there is no answer, and what to do.
func (c *commands) noAnswer(err error) error {
	var op *net.OpError
	if errors.As(err, &op) && errors.Is(op, fs.ErrPermission) {
		return failed(exitFailed, fmt.Errorf("you may not open %s; ask as root or as a member of the agent's group", c.socket()))
	}
	if errors.Is(err, context.Canceled) {
		return failed(exitFailed, errors.New("stopped before the agent answered"))
	}
	var unwrapped *url.Error
	if errors.As(err, &unwrapped) {
		err = unwrapped.Err
	}
	return failed(exitTemporary, fmt.Errorf("no agent answers at %s (%w)\nstart one with: tidemark-agent run --data %s, or name the socket of the one that runs with --socket",
		c.socket(), err, c.cfg.Data))
}

// ask asks a running agent and decodes its answer into v; it returns the answer
// as it came.
func (c *commands) ask(ctx context.Context, path string, v any) ([]byte, error) {
	ctx, cancel := context.WithTimeout(ctx, askTimeout)
	defer cancel()
	body, err := c.open(ctx, path)
	if err != nil {
		return nil, err
	}
	defer body.Close()
	raw, err := io.ReadAll(body)
	if err != nil {
		return nil, failed(exitTemporary, fmt.Errorf("the agent's answer broke off: %w", err))
	}
	if err := json.Unmarshal(raw, v); err != nil {
		return nil, failed(exitFailed, fmt.Errorf("what answers at %s is no agent of this version: %w", c.socket(), err))
	}
	return raw, nil
}

// lines calls each with every line of a stream until it returns false.
func (c *commands) lines(ctx context.Context, path string, each func(line []byte) (bool, error)) error {
	body, err := c.open(ctx, path)
	if err != nil {
		return err
	}
	defer body.Close()
	in := bufio.NewScanner(body)
	in.Buffer(nil, 1<<20)
	for in.Scan() {
		if more, err := each(in.Bytes()); err != nil || !more {
			return err
		}
	}
	if ctx.Err() != nil {
		return nil // asked to stop: that is how a stream ends
	}
	return failed(exitTemporary, fmt.Errorf("the agent at %s has stopped", c.socket()))
}
