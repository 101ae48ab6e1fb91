// Package powercut is a disk whose power can be cut, for tests. It is one file
// in a FUSE file system of its own, which a loop device turns into a block
// device with a real ext4 on it: what a program under test writes and flushes
// passes the kernel's file system, page cache, journal and block layer, and
// arrives here as writes and flushes of a disk.
//
// [Disk] records them in order, with marks that the test sets when the program
// said that something is safe. [States] then builds the disk as it may be after
// the power went at some moment: all writes up to the last flush are there; of
// those after it each sector of 512 bytes is there or not, at random.
//
// What it models: a disk with a volatile write cache that obeys flushes and
// writes sectors whole. What it does not: a disk that lies about flushes, that
// tears a sector, or that damages neighbouring data (flash without power-loss
// protection); for these stands the damage test of the outbox. Within a sector's
// cached writes the later one replaces the earlier one or both are lost; a
// later one is never there without its turn being possible.
//
// It needs Linux, root, /dev/fuse, a loop device and mkfs.ext4.
package powercut
