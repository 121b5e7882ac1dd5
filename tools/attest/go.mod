// What signs a release, and verifies one.
module github.com/plana-pulse/function-planaclient/tools/attest

go 1.26.8
