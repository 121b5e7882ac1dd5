# Images for those who have Docker. make package needs none of this.
#
#   docker build --target function -t function-planaclient .
#   docker build --target effects  -t function-planaclient-effects .
#
# Give --build-arg VERSION=v0.2.0 --build-arg REVISION=$(git rev-parse HEAD) for a
# release.

ARG GO_VERSION=1.26.8

FROM --platform=$BUILDPLATFORM golang:${GO_VERSION}-bookworm AS build
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
FROM debian:12.12-slim AS effects
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

# Last, so that it is what is built when no target is named.
FROM gcr.io/distroless/static-debian12:nonroot AS function
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
