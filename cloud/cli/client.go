package cli

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"
	"time"
)

// maxAnswer bounds what the command reads of one answer.
const maxAnswer = 64 << 20

// client asks the API.
type client struct {
	base string
	http *http.Client
}

// newClient checks the address first: a mistake in it is not a server that is down.
func newClient(server string, timeout time.Duration) (*client, error) {
	u, err := url.Parse(server)
	if err != nil || u.Scheme != "http" && u.Scheme != "https" || u.Host == "" || u.User != nil || u.RawQuery != "" || strings.Trim(u.Path, "/") != "" {
		return nil, configError{fmt.Sprintf("the server's address is %q, which is not of the form http://host:port. Set it with --server or TIDEMARK_SERVER.", server)}
	}
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.ResponseHeaderTimeout = timeout
	return &client{base: u.Scheme + "://" + u.Host, http: &http.Client{Transport: t}}, nil
}

// open sends a request and returns the answer if it is a 200.
func (c *client) open(ctx context.Context, path string, query url.Values) (*http.Response, error) {
	for k, v := range query {
		if len(v) == 0 || v[0] == "" {
			query.Del(k)
		}
	}
	address := c.base + "/api/v1/" + path
	if len(query) > 0 {
		address += "?" + query.Encode()
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, address, nil)
	if err != nil {
		return nil, configError{fmt.Sprintf("the address %s is not valid: %v", address, err)}
	}
	res, err := c.http.Do(req)
	if err != nil {
		var u *url.Error
		if errors.As(err, &u) {
			err = u.Err // the address is in our own words already
		}
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		return nil, &unreachable{server: c.base, err: err}
	}
	if res.StatusCode == http.StatusOK {
		return res, nil
	}
	defer res.Body.Close()
	p := &refused{Status: res.StatusCode}
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil || json.Unmarshal(data, p) != nil || p.Reason == "" {
		return nil, fmt.Errorf("what answers at %s is not Tidemark's API (status %s). Check --server.", c.base, res.Status) //nolint:staticcheck // a sentence for a person
	}
	return nil, p
}

// get asks for a path, and decodes the answer into v unless that is nil. The
// answer is returned as it came, too.
func (c *client) get(ctx context.Context, path string, query url.Values, v any) ([]byte, error) {
	res, err := c.open(ctx, path, query)
	if err != nil {
		return nil, err
	}
	defer res.Body.Close()
	data, err := io.ReadAll(io.LimitReader(res.Body, maxAnswer))
	if err != nil {
		return nil, &unreachable{server: c.base, err: err}
	}
	if v == nil {
		return data, nil
	}
	d := json.NewDecoder(bytes.NewReader(data))
	d.UseNumber() // no digit of a large integer is lost
	if err := d.Decode(v); err != nil {
		return nil, fmt.Errorf("the answer of %s is not what this version understands (%w). Use the version of tidemark that belongs to the server.", c.base, err) //nolint:staticcheck // a sentence for a person
	}
	return data, nil
}
