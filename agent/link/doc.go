// Package link carries committed messages from the outbox to the receiver over
// MQTT 5, and acknowledgements back.
//
// autopaho keeps the connection and nothing else. What to send is worked out
// anew each time from two sets: the seqs that the cloud has committed, and those
// in flight. So no cursor can be wrong after a crash, a reconnect or an ack that
// got lost, and sending twice is never harmful: the receiver leaves out what it has.
//
//	seqs of the epoch   1 ......... a ....... head at connect ....... head
//	                    | committed |   backlog (drains behind)  | fresh (first) |
//
// Fresh first: what was committed to the outbox after the connection came up
// goes out at once; the backlog follows in bundles of joined messages, as far
// as a window of bytes in flight allows. The window shrinks when acks take long,
// so that on a slow link fresh messages do not queue behind the backlog.
//
// A PUBACK means only that the broker has a bundle. Only an ack from the
// receiver reaches [Store.Ack], which is what deletes. A bundle that is not
// acknowledged in time is sent again. One that the receiver refuses as a whole
// goes out again in halves until a single message is to blame; that is named as
// lost, and blocks nothing behind it. A cloud that refuses everything makes the
// link wait, and costs no message.
//
// Next on the path: the receiver, in the cloud.
package link
