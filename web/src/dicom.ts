/** DICOM files to volumes, by dcm2niix. */

import { Dcm2niix } from '@niivue/dcm2niix';

/** One NIfTI file a series, named by its number and description. */
export async function convert(files: File[]): Promise<File[]> {
  const converter = new Dcm2niix(); // a new one each time: its file system keeps what it was given
  const expected = 'expected NIfTI (.nii, .nii.gz), NRRD (.nrrd, .nhdr) or DICOM files';
  try {
    await converter.init();
    const named = files.map((file, n) => new File([file], `${n}.dcm`)); // names of folders may be alike
    const found: File[] = await converter.input(named).b('n').z('n').f('%s_%d').run();
    const volumes = found.filter((file) => file.name.endsWith('.nii'));
    if (!volumes.length) throw new Error('no volume');
    return volumes;
  } catch (error) {
    throw new Error(`${expected}; dcm2niix found none among ${files.length} (${(error as Error).message})`);
  } finally {
    converter.worker?.terminate();
  }
}
