// Package ask puts one question to one service over NATS and waits for the
// answer: the only way in which the HTTP gateway and the console reach the
// data, trace and rule services.
//
// It promises an answer or an error that names the service and what a person
// can do, never both and never neither. It keeps nothing, retries nothing, and
// passes the request id and the W3C trace context on as headers.
// [Served] says how far answers have reached somebody, which is the last hop of
// a message.
//
// Next on the path: the service that answers; its requests stand in
// [tidemark/cloud/contract].
package ask
