// Command rclone is rclone cut down to what the tests want of it: an S3 server
// in front of a local directory. The whole of rclone, with every cloud's SDK,
// takes ten times as long to build.
package main

import (
	_ "github.com/rclone/rclone/backend/local"
	"github.com/rclone/rclone/cmd"
	_ "github.com/rclone/rclone/cmd/serve"
	_ "github.com/rclone/rclone/cmd/serve/s3"
)

func main() {
	cmd.Main()
}
