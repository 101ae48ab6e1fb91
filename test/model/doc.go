// Package model checks the sync protocol of outbox, link and receiver with a model checker: sync.pml is the protocol in
// Promela, and its head comment says what stands for what in the code. The test lets Debian's spin search every state for a
// lost message, a duplicate, or an outbox that never becomes empty, and then takes one rule after another out of the protocol
// and requires that the search finds what goes wrong.
//
// When the protocol changes, the model changes in the same commit. It holds no product code, and no product code imports it.
package model
