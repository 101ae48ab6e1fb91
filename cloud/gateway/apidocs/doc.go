// Package apidocs makes the page that describes the HTTP API out of its
// OpenAPI document, and says in that document what the fields mean. It is
// asked once, when the gateway is made, and keeps nothing.
//
// The page has no scripts and loads nothing but its style sheet.
package apidocs
