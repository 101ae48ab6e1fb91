//go:build !linux

package outbox

import "os"

// What these are for is a matter of Linux's page cache; see [Outbox.create].

func adviseRandom(*os.File)   {}
func dropCached(string)       {}
func dropCachedFile(*os.File) {}
