package clock

import (
	"crypto/rand"
	"sync"
	"time"
)

// started is the origin of monotonic time where the system names none: then
// each start of the agent is a boot of its own.
var started = time.Now()

var fallbackBootID = sync.OnceValue(rand.Text)
