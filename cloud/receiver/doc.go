// Package receiver turns what gateways publish into the stream: it decodes and
// bounds everything, commits each message exactly once, and tells the gateway.
//
// The stream is the ledger. A bundle becomes one entry of the device stream,
// with the gateway's new tidemarks in a header, published with the expected
// last sequence of the gateway's subject. So data and tidemark commit in one
// atomic step, no second store is needed, and of several receivers that race
// one wins; the others read the entry that won, leave out what it holds, and
// try again. Downstream sees each message once.
//
// What a message may hold that the receiver cannot accept goes to the dead
// letters with the reason, before the tidemark covers it: a crash between the
// two repeats the dead letter, which its id makes harmless. What needs a schema
// that is not known is left out, and the ack asks for the schema.
//
// The receiver never acknowledges what the stream has not on disk, and
// keeps nothing itself: its tidemarks in memory are a cache of the last header.
//
// Next on the path: [tidemark/cloud/stream] and the services that read it.
package receiver
