package main

import (
	"context"
	"errors"
	"time"

	"github.com/shoal-storage/shoal/gateway/admin"
	"github.com/shoal-storage/shoal/internal/speed"
	"github.com/shoal-storage/shoal/internal/vfs"
)

// measure has a file be written and read on all that this process keeps objects on, one after
// the other.
func (b *backend) measure(ctx context.Context, block, size int64) (all []admin.Speed) {
	for _, path := range b.paths() {
		found := admin.Speed{Path: path}
		found.Written, found.Read, found.Err = measureDrive(ctx, path, block, size)
		all = append(all, found)
	}
	return all
}

func measureDrive(ctx context.Context, path string, block, size int64) (written, read float64, err error) {
	dir, err := vfs.OpenRoot(path)
	if err != nil {
		return 0, 0, err
	}
	defer func() { err = errors.Join(err, dir.Close()) }()
	return speed.Drive(ctx, dir, block, size, time.Now)
}

// onlineOf returns where the drives of a node are that can be used.
func onlineOf(all []admin.Drive, node string) (paths []string) {
	for _, d := range all {
		if d.Online && d.Node == node {
			paths = append(paths, d.Path)
		}
	}
	return paths
}
