// Package console is what an operator sees in a browser: the pages Fleet,
// Data, Messages with its traces, and Alerts, rendered here and kept fresh by
// fetching themselves again. The chart of Data goes on by the live tail of the
// HTTP API.
//
// It asks the services through NATS like the HTTP gateway, imports none of
// them, and keeps nothing. A service that does not answer leaves a notice that
// names it on the pages that need it, and the others work. All that a page
// loads is embedded here; nothing comes from another host.
//
// cloud.go hands [Console.Handler] to the gateway, which puts the security
// headers, limits and the access log around it. The pages rely on a content
// security policy of 'self': no inline script, no inline style.
//
// Next on the path: a person.
package console
