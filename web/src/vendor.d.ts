declare module '@niivue/dcm2niix' {
  export class Dcm2niix {
    worker: Worker | null;
    init(): Promise<boolean>;
    input(files: File[]): Processor;
  }
  interface Processor {
    b(value: string): Processor;
    z(value: string): Processor;
    f(value: string): Processor;
    run(): Promise<File[]>;
  }
}
