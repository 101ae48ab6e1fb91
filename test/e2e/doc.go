// Package e2e runs agents and the cloud together, the real ones, as the
// programs do: [tidemark/agent.Run] and [tidemark/cloud.Run] in one process,
// over loopback, and looks at what the HTTP API says in the end. Each test is
// one way in which a site's day goes wrong.
package e2e
