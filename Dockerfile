# The gateway's image: one static binary on distroless, user 65532, no shell, nothing that is written to.
#
#   docker build --build-arg VERSION=$(git describe --tags --always) --platform linux/amd64,linux/arm64 -t telemetry-gateway .
#   docker run --read-only --cap-drop ALL -v "$PWD/config:/etc/gateway/config:ro" -p 8080:8080 telemetry-gateway
#
# The Go version is go.mod's; a test holds the two together.
FROM --platform=$BUILDPLATFORM docker.io/library/golang:1.26-bookworm AS build
WORKDIR /src
# Dependencies change rarely: a layer of their own.
COPY go.mod go.sum ./
RUN go mod download
COPY cmd cmd
COPY internal internal
ARG TARGETOS TARGETARCH
ARG VERSION=dev
# Cross-compiled on the builder's own architecture: no emulation.
RUN CGO_ENABLED=0 GOOS=$TARGETOS GOARCH=$TARGETARCH \
    go build -trimpath -buildvcs=false -ldflags "-s -w -X main.version=$VERSION" -o /out/gateway ./cmd/gateway

# static: certificates of public authorities, time zones, /etc/passwd; no libc, no shell, no package manager.
FROM gcr.io/distroless/static-debian12:nonroot
ARG VERSION=dev
LABEL org.opencontainers.image.title="telemetry-gateway" \
      org.opencontainers.image.description="Stateless gateway between telemetry senders and Grafana Cloud" \
      org.opencontainers.image.source="https://github.com/telemetry-gateway/telemetry-gateway" \
      org.opencontainers.image.version="$VERSION"
COPY --from=build /out/gateway /gateway
# As a number: Kubernetes' runAsNonRoot cannot judge a name.
USER 65532:65532
EXPOSE 8080 4317 9091
ENTRYPOINT ["/gateway"]
CMD ["run", "--config.file=/etc/gateway/config/gateway.yaml"]
