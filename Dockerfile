# Images for those who have Docker. make package needs none of this.
#
# Base images are taken by digest, so that a tag that moves doesn't change what is
# built. Look them up where you pull from, and keep them with the release:
#
#   docker buildx imagetools inspect golang:1.26.8-bookworm
#   docker buildx imagetools inspect debian:12.12-slim
#   docker build --target effects -t function-planaclient-effects \
#     --build-arg GO_IMAGE=golang:1.26.8-bookworm@sha256:… \
#     --build-arg DEBIAN_IMAGE=debian:12.12-slim@sha256:… .
#
# --target function needs no DEBIAN_IMAGE. Give --build-arg VERSION=v0.2.0
# --build-arg REVISION=$(git rev-parse HEAD) for a release.

# Neither has a default: there is none that would stay right.
ARG GO_IMAGE
ARG DEBIAN_IMAGE

FROM --platform=$BUILDPLATFORM ${GO_IMAGE} AS build
ARG GO_IMAGE
RUN echo "${GO_IMAGE}" | grep -Eq '@sha256:[0-9a-f]{64}$' || { echo "GO_IMAGE must name a digest: NAME@sha256:…, got ${GO_IMAGE}"; exit 1; }
WORKDIR /src
# Dependencies change less often than code, so they are a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY . .
ARG TARGETOS=linux
ARG TARGETARCH=amd64
ARG VERSION=dev
RUN CGO_ENABLED=0 GOOS=${TARGETOS} GOARCH=${TARGETARCH} \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=${VERSION}" -o /function .

# What the effects run beside the binary: pg_dump and restic. Its pg_dump must not
# be newer than the server's pg_restore, hence Debian 12 and its PostgreSQL 15.
FROM ${DEBIAN_IMAGE} AS effects
ARG DEBIAN_IMAGE
RUN echo "${DEBIAN_IMAGE}" | grep -Eq '@sha256:[0-9a-f]{64}$' || { echo "DEBIAN_IMAGE must name a digest: NAME@sha256:…, got ${DEBIAN_IMAGE}"; exit 1; }
RUN apt-get update \
 && apt-get install --yes --no-install-recommends ca-certificates postgresql-client-15 restic \
 && rm -rf /var/lib/apt/lists/*
COPY --from=build /function /function
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title=function-planaclient-effects \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.source=https://github.com/plana-pulse/function-planaclient \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
USER 65532:65532
ENTRYPOINT ["/function"]

# Last, so that it is what is built when no target is named. The binary needs nothing
# beside it, and calls nobody: make package puts it into as empty an image.
FROM scratch AS function
COPY --from=build /function /function
ARG VERSION=dev
ARG REVISION=unknown
LABEL org.opencontainers.image.title=function-planaclient \
      org.opencontainers.image.licenses=Apache-2.0 \
      org.opencontainers.image.source=https://github.com/plana-pulse/function-planaclient \
      org.opencontainers.image.version=${VERSION} \
      org.opencontainers.image.revision=${REVISION}
EXPOSE 9443 8080
USER 65532:65532
ENTRYPOINT ["/function"]
