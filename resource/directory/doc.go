// Package directory captures and restores directory trees.
//
// It keeps everything that a Linux tree holds: names as bytes, owners, modes, times in nanoseconds, symbolic and hard
// links, holes of sparse files, extended attributes with ACLs and capabilities, devices and FIFOs. Sockets are recorded
// and not made again. Access times and times of birth are not kept, nor are holes in files of up to 128 KiB; a larger
// file that holds long runs of zeros may be restored with holes in their place.
//
// # Capture
//
// The tree is walked once, by directory descriptors, in the order of the recovery point's keys (see [Key]), and merged
// with the parent recovery point as it goes. An item whose inode, size, times, mode and owner are those in the parent
// is kept as it was: it is neither opened nor are its attributes listed. An inode's change time cannot be forged; but it
// ticks coarsely on some file systems, so what changed less than two seconds before the walk began is marked racy and read again by
// the next capture.
//
// Files that changed are read by a few readers at once, and looked at again afterwards. One that moved while it was
// read is read again, up to three times, then stored and reported. What cannot be read is reported. Other file systems
// mounted in the tree are not entered, unless the driver is told to; the mount points are recorded as empty directories
// and reported.
//
// Without a file-system snapshot below it, a capture is not an image of one point in time.
//
// # Restore
//
// A restore makes every item with no permissions for others, fills it, and then sets owner, mode, attributes and times,
// those of directories last. It works by descriptors and never follows a link, so that nothing a recovery point holds
// can lead it out of its target. It runs under the name .NAME.partial, which is renamed when everything is durable;
// [Sweep] removes what a killed process left. Large files are written past the page cache where the system can, and keep the
// machine's other work in it.
package directory
