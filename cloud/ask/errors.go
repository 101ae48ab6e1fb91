package ask

import (
	"fmt"
	"strings"
)

// The reasons of an [Unavailable].
const (
	ReasonNoService = "no_service" // nobody listens on the subject
	ReasonTimeout   = "timeout"    // somebody listens, but did not answer in time
	ReasonBus       = "bus_down"   // NATS cannot be reached
	ReasonBadReply  = "bad_reply"  // the answer is not what the contract says
)

// Unavailable says that a service did not answer.
type Unavailable struct {
	Service string // such as data
	Subject string
	Reason  string // one of the reasons above
	Err     error
}

func (e *Unavailable) Error() string {
	switch e.Reason {
	case ReasonNoService:
		return fmt.Sprintf("The %s service does not run: nobody answers on %s. Check that tidemark-cloud was started with that role, then try again.", e.Service, e.Subject)
	case ReasonTimeout:
		return fmt.Sprintf("The %s service did not answer in time on %s. It may be busy or restarting: try again in a few seconds, or ask for less.", e.Service, e.Subject)
	case ReasonBus:
		return fmt.Sprintf("The %s service cannot be asked, because NATS cannot be reached. Check that the NATS server runs and its address is right; the connection comes back by itself.", e.Service)
	}
	return fmt.Sprintf("The %s service answered something that this version does not understand (%v). Check that all roles run the same version of tidemark-cloud.", e.Service, e.Err)
}

func (e *Unavailable) Unwrap() error { return e.Err }

// ServiceOf returns which service answers a subject: data, trace, rule …
func ServiceOf(subject string) string {
	if strings.HasPrefix(subject, "data_platform.") {
		return "data"
	}
	if p := strings.Split(subject, "."); len(p) > 1 {
		return p[1]
	}
	return subject
}
