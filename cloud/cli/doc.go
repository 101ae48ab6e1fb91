// Package cli is the operator's command line, tidemark: sites, gateways,
// readings, messages, alerts, traces and counts, for people as tables and for
// programs as JSON.
//
// It asks the HTTP API and nothing else, so it runs on any machine that
// reaches it. It keeps no state. Its exit codes are 0 ok, 1 failed, 2 usage,
// 75 temporary (worth trying again) and 78 configuration; every error goes to
// standard error, and says what to do.
//
// cmd/tidemark calls [Run]; tests call it too.
package cli
