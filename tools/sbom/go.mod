module github.com/plana-pulse/function-planaclient/tools/sbom

go 1.26.8

require github.com/CycloneDX/cyclonedx-go v0.10.0

require github.com/package-url/packageurl-go v0.1.7
