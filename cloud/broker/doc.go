// Package broker is where gateways reach the cloud: an MQTT 5 broker in this
// process ([Embedded]), or a client of somebody else's ([External]). The
// receiver stands behind either and cannot tell them apart.
//
// A PUBACK from the embedded broker means that the receiver has dealt with the
// bundle; from an external broker it means only that the broker has it. In both
// cases nothing but an ack from the receiver lets a gateway delete.
//
// The embedded broker forwards nothing between clients and keeps no session:
// several receivers can stand behind any TCP load balancer. A client may
// publish under device/{its site}/{its name}/ and subscribe under
// service_platform/{its site}/{its name}/, and nowhere else; its client id is its
// address. Packets, connections and sessions are bounded, and a panic while
// serving one connection ends that connection only.
//
// Next on the path: [tidemark/cloud/receiver].
package broker
