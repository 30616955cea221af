/** Metrics of the service in its own registry, in Prometheus format. */
import { Counter, collectDefaultMetrics, Gauge, Histogram, Registry } from "prom-client";
import type { Gate } from "./gate.js";

const BUCKETS = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60];

export class Metrics {
  readonly registry = new Registry();
  readonly #requests: Counter<"method" | "route" | "status">;
  readonly #duration: Histogram<"route">;
  readonly #pairs: Counter;
  readonly #pairsOfModel: Counter<"model">;

  constructor(gate: Gate) {
    const registers = [this.registry];
    collectDefaultMetrics({ register: this.registry });
    this.#requests = new Counter({
      name: "soundspot_http_requests_total",
      help: "Ended requests, by route and status; 499 if the client disconnected.",
      labelNames: ["method", "route", "status"],
      registers,
    });
    this.#duration = new Histogram({
      name: "soundspot_http_request_duration_seconds",
      help: "From the head of a request to the end of its answer.",
      labelNames: ["route"],
      buckets: BUCKETS,
      registers,
    });
    this.#pairs = new Counter({
      name: "soundspot_localized_pairs_total",
      help: "Pairs of image and audio that the models have localized.",
      registers,
    });
    this.#pairsOfModel = new Counter({
      name: "soundspot_model_localized_pairs_total",
      help: "Pairs of image and audio that a model has localized.",
      labelNames: ["model"],
      registers,
    });
    new Gauge({
      name: "soundspot_queue_depth",
      help: "Requests that are being received or wait for their turn.",
      registers,
      collect() {
        this.set(gate.waiting);
      },
    });
    new Gauge({
      name: "soundspot_in_flight",
      help: "Requests that are being decoded or processed by a model.",
      registers,
      collect() {
        this.set(gate.atWork);
      },
    });
  }

  ended(method: string, route: string, status: number, seconds: number): void {
    this.#requests.inc({ method, route, status });
    this.#duration.observe({ route }, seconds);
  }

  localized(model: string): void {
    this.#pairs.inc();
    this.#pairsOfModel.inc({ model });
  }
}
