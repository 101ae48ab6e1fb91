package statefile

import "fmt"

// NewerError is a file that a newer version of the program wrote.
type NewerError struct {
	Version, Known int    // of the tables: in the file, and to this program
	Anew           string // as in [Config]
}

func (e *NewerError) Error() string {
	return fmt.Sprintf("it was written by a newer version (tables %d, this program knows %d); start the newer program, or move the file away and %s",
		e.Version, e.Known, e.Anew)
}
