// Brings the page to life where scripts run; every page can be read and every form sent without it.
import { drawCurves } from "./curves.js";
import { helpForms, offerCopies } from "./forms.js";
import { openSamples } from "./gallery.js";
import { keepLive } from "./live.js";

helpForms();
offerCopies(document);
openSamples();
keepLive();
drawCurves();
