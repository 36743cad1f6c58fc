/** The exported network in onnxruntime-web: WebGPU where there is a GPU that computes rightly, else WASM. */

import type * as Ort from 'onnxruntime-web';
import type { Step } from './steps';
import type { Network, Window } from './window';

/** What `dckd export --web` writes beside the network. */
export interface Bundle {
  name: string;
  version: string;
  task: string;
  intended_use: string;
  data_source: string;
  settings: {
    classes: string[];
    channels: number;
    read: { dtype: string | null; nrrd_spacing: number[] | null; max_extent: number[] | null };
    steps: Step[];
    window: Window;
    known?: Known;
  };
  /** nodes that a GPU leaves to the CPU */
  cpu_nodes: string[];
  /** logits of the network at a known input, every `stride`th of them */
  check: { shape: number[]; stride: number; logits: number[]; tolerance: number };
}

/** What the volumes that the network was trained on were like: lowest and highest of each. */
export interface Known {
  extent: [number, number][];
  mean?: [number, number];
  deviation?: [number, number];
}

export interface Loaded {
  bundle: Bundle;
  network: Network;
  /** for the visitor, such as "WASM, 2 threads" */
  runtime: string;
}

const MOST_THREADS = 8; // more gain nothing with windows of this size

/** @param gpu `off`: WASM; `software`: WebGPU on a computed GPU too, for tests; else WebGPU on a real one */
export async function load(say: (text: string) => void, gpu: string | null): Promise<Loaded> {
  const bundle: Bundle = await (await fetched('network/bundle.json')).json();
  say('Loading the network');
  const model = await (await fetched('network/model.onnx')).arrayBuffer();
  if (gpu !== 'off' && (await hasGpu(gpu === 'software'))) {
    say('Starting the network on the GPU');
    try {
      const ort: typeof Ort = await import(new URL('ort/ort.webgpu.bundle.min.mjs', self.location.href).href);
      const network = await session(ort, model, { name: 'webgpu', forceCpuNodeNames: bundle.cpu_nodes });
      await check(network, bundle.check);
      return { bundle, network, runtime: 'WebGPU' };
    } catch (error) {
      console.warn(`WebGPU is not used: ${(error as Error).message}`);
    }
  }
  say('Starting the network');
  const ort: typeof Ort = await import(new URL('ort/ort.wasm.bundle.min.mjs', self.location.href).href);
  const threads = self.crossOriginIsolated ? Math.min(navigator.hardwareConcurrency || 1, MOST_THREADS) : 1;
  ort.env.wasm.numThreads = threads;
  const network = await session(ort, model, { name: 'wasm' });
  await check(network, bundle.check);
  return { bundle, network, runtime: `WASM, ${threads} thread${threads === 1 ? '' : 's'}` };
}

async function fetched(path: string): Promise<Response> {
  const response = await fetch(new URL(path, self.location.href));
  if (!response.ok) throw new Error(`${path} of this page cannot be read: ${response.status} ${response.statusText}`);
  return response;
}

/** Whether there is a GPU; a CPU that plays one is slower than WASM. */
async function hasGpu(software: boolean): Promise<boolean> {
  const adapter = await (navigator as { gpu?: GPU }).gpu?.requestAdapter().catch(() => null);
  return !!adapter && (software || !adapter.info.isFallbackAdapter);
}

type Provider = Ort.InferenceSession.ExecutionProviderConfig;

async function session(ort: typeof Ort, model: ArrayBuffer, provider: Provider): Promise<Network> {
  ort.env.logLevel = 'error';
  const loaded = await ort.InferenceSession.create(model.slice(0), {
    executionProviders: [provider],
    logSeverityLevel: 3,
  });
  return async (window, shape) => {
    const { pred } = await loaded.run({ image: new ort.Tensor('float32', window, shape) });
    const logits = (await pred.getData()) as Float32Array;
    pred.dispose();
    return logits;
  };
}

/** Compare the logits of a known window with those that were computed when the page was made. */
async function check(network: Network, { shape, stride, logits, tolerance }: Bundle['check']): Promise<void> {
  const image = new Float32Array(shape.reduce((product, n) => product * n, 1));
  let state = 1;
  for (let n = 0; n < image.length; n++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0; // Numerical Recipes' generator
    image[n] = state / 2 ** 31 - 1;
  }
  const found = await network(image, shape);
  const most = Math.max(...logits.map((value, n) => Math.abs(value - found[n * stride])));
  if (!(most <= tolerance))
    throw new Error(`the network computes other values here (by ${most}) than where the page was made`);
}
