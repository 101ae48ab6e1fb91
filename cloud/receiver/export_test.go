package receiver

import "time"

// SetSchemaRefresh says at what age a schema in use is written again.
func SetSchemaRefresh(r *Receiver, age time.Duration) { r.schemas.refresh = age }
