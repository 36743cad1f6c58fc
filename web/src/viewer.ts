/** Three planes and 3D, by NiiVue. */

import { MULTIPLANAR_TYPE, Niivue, NVImage, SHOW_RENDER, SLICE_TYPE } from '@niivue/niivue';

/** Of the classes 1, 2, ...: told apart by the colour-blind too (Okabe and Ito). */
export const COLOURS = [
  [230, 159, 0],
  [86, 180, 233],
  [0, 158, 115],
  [240, 228, 66],
  [213, 94, 0],
  [204, 121, 167],
  [0, 114, 178],
];
export const colourOf = (number: number): number[] => COLOURS[(number - 1) % COLOURS.length];

export const VIEWS: Record<string, SLICE_TYPE> = {
  all: SLICE_TYPE.MULTIPLANAR,
  axial: SLICE_TYPE.AXIAL,
  coronal: SLICE_TYPE.CORONAL,
  sagittal: SLICE_TYPE.SAGITTAL,
  solid: SLICE_TYPE.RENDER,
};
const KEYS: Record<string, [number, number, number]> = {
  ArrowLeft: [-1, 0, 0],
  ArrowRight: [1, 0, 0],
  ArrowDown: [0, -1, 0],
  ArrowUp: [0, 1, 0],
  PageDown: [0, 0, -1],
  PageUp: [0, 0, 1],
};

export class Viewer {
  private readonly niivue = new Niivue({
    backColor: [0.055, 0.065, 0.08, 1],
    crosshairColor: [0.75, 0.8, 0.85, 0.6],
    crosshairWidth: 0.5,
    crosshairWidthUnit: 'percent',
    fontColor: [0.8, 0.84, 0.88, 1],
    fontMinPx: 15,
    fontSizeScaling: 0.3,
    show3Dcrosshair: true,
    multiplanarShowRender: SHOW_RENDER.ALWAYS,
    multiplanarLayout: MULTIPLANAR_TYPE.GRID,
    multiplanarPadPixels: 6,
    isRadiologicalConvention: true,
    isSliceMM: true,
    isCornerOrientationText: true,
    dragAndDropEnabled: false,
    loadingText: '',
    logLevel: 'error',
    viewModeHotKey: '',
    clipPlaneHotKey: '',
    cycleClipPlaneHotKey: '',
  });
  private ready: Promise<unknown>;

  /** @param place is told where the crosshair is, mm, and the value there */
  constructor(
    private readonly canvas: HTMLCanvasElement,
    place: (text: string) => void,
  ) {
    this.niivue.onLocationChange = (at) => place((at as { string: string }).string);
    this.ready = this.niivue.attachToCanvas(canvas);
    canvas.addEventListener('keydown', (event) => {
      const step = KEYS[event.key];
      if (!step || !this.niivue.volumes.length) return;
      event.preventDefault();
      this.niivue.moveCrosshairInVox(...step);
    });
  }

  /** Show a volume alone. */
  async showVolume(nifti: ArrayBuffer, name: string): Promise<void> {
    await this.ready;
    for (const volume of [...this.niivue.volumes]) this.niivue.removeVolume(volume);
    this.niivue.addVolume(await image(nifti, name, 'gray', 1));
    this.niivue.setSliceMM(true);
    this.canvas.dataset.shown = 'volume';
  }

  /** Lay a mask over it. */
  async showMask(nifti: ArrayBuffer, classes: string[], opacity: number): Promise<void> {
    for (const volume of this.niivue.volumes.slice(1)) this.niivue.removeVolume(volume);
    const mask = await image(nifti, 'mask', 'gray', opacity);
    const colours = classes.map((_, number) => (number ? colourOf(number) : [0, 0, 0]));
    mask.setColormapLabel({
      R: colours.map(([red]) => red),
      G: colours.map(([, green]) => green),
      B: colours.map(([, , blue]) => blue),
      A: colours.map((_, number) => (number ? 255 : 0)),
      I: colours.map((_, number) => number),
      labels: classes,
    });
    this.niivue.addVolume(mask);
    this.niivue.updateGLVolume();
    this.canvas.dataset.shown = 'mask';
  }

  setView(view: string): void {
    this.niivue.setSliceType(VIEWS[view]);
  }

  setOpacity(opacity: number): void {
    if (this.niivue.volumes.length > 1) this.niivue.setOpacity(1, opacity);
  }

  /** Left and right as seen from the feet (radiological) or from above. */
  setRadiological(radiological: boolean): void {
    this.niivue.setRadiologicalConvention(radiological);
  }
}

const image = (nifti: ArrayBuffer, name: string, colormap: string, opacity: number): Promise<NVImage> =>
  NVImage.loadFromFile({ file: new File([nifti], `${name}.nii`), name: `${name}.nii`, colormap, opacity }) as Promise<NVImage>;
